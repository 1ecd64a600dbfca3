/*
 * Findings: collecting and printing violations.
 */
#include "findings.h"

#include <stdarg.h>
#include <stdio.h>

void findings_add(struct findings *findings, const char *name, const char *format, ...)
{
    if (findings->n_violations < FINDINGS_N_TEXTS) {
        char *text = findings->texts[findings->n_violations];
        int n = snprintf(text, FINDINGS_TEXT_SIZE, "%.*s: ", NAME_SIZE, name);
        va_list args;
        va_start(args, format);
        vsnprintf(text + n, FINDINGS_TEXT_SIZE - (size_t)n, format, args);
        va_end(args);
    }
    findings->n_violations++;
}

void findings_merge(struct findings *findings, const struct findings *more)
{
    for (uint64_t i = 0; i < more->n_violations; i++) {
        if (i < FINDINGS_N_TEXTS && findings->n_violations < FINDINGS_N_TEXTS)
            memcpy(findings->texts[findings->n_violations], more->texts[i], FINDINGS_TEXT_SIZE);
        findings->n_violations++;
    }
    findings->n_bids += more->n_bids;
}

void findings_print(const struct findings *findings)
{
    for (uint64_t i = 0; i < findings->n_violations && i < FINDINGS_N_TEXTS; i++)
        printf("violation: %s\n", findings->texts[i]);
    if (findings->n_violations > FINDINGS_N_TEXTS)
        printf("violation: and %" PRIu64 " more\n", findings->n_violations - FINDINGS_N_TEXTS);
}
