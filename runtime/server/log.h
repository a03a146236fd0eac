/* The server's log: one line of JSON per event on stderr, in the form that Cloud Logging reads ("severity" and
 * "message"; https://cloud.google.com/logging/docs/structured-logging). It never contains prompts or generated text.
 * Only the main thread logs. */
#ifndef HL_RUNTIME_SERVER_LOG_H
#define HL_RUNTIME_SERVER_LOG_H

#include <cjson/cJSON.h>
#include <stdint.h>

enum hl_severity { HL_LOG_INFO, HL_LOG_WARNING, HL_LOG_ERROR };

/* Writes a line. `fields`, an object or NULL, follow the message; the call frees them. */
void hl_log(enum hl_severity severity, const char *message, cJSON *fields);

/* Returns nanoseconds as milliseconds with three decimals. */
double hl_log_ms(uint64_t ns);

#endif
