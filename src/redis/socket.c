/*
 * Sockets: see the header. Used by the plain transport and by TLS.
 */
#include "redis/socket.h"

#include "base/text.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>

void gavel__socket_explain(int error, char message[GAVEL_MESSAGE_SIZE])
{
    if (strerror_r(error, message, GAVEL_MESSAGE_SIZE) != 0)
        gavel__format(message, GAVEL_MESSAGE_SIZE, "system error %d", error);
}

gavel__progress gavel__socket_connect(int fd, char message[GAVEL_MESSAGE_SIZE])
{
    struct pollfd poll_fd = {.fd = fd, .events = POLLOUT};
    int error = 0;
    socklen_t size = sizeof(error);
    int n = poll(&poll_fd, 1, 0);
    if (n == 0 || (n < 0 && errno == EINTR))
        return GAVEL__PROGRESS_UNDER_WAY;
    if (n < 0 || getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) != 0)
        error = errno;
    if (error == 0)
        return GAVEL__PROGRESS_DONE;
    gavel__socket_explain(error, message);
    return GAVEL__PROGRESS_FAILED;
}
