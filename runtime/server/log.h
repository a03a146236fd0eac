/* What the server says about itself: one line of JSON per event on stderr, in the form that Cloud Logging reads
 * ("severity" and "message"; https://cloud.google.com/logging/docs/structured-logging). Prompts and texts are never
 * logged. Only the main thread logs. */
#ifndef HL_RUNTIME_SERVER_LOG_H
#define HL_RUNTIME_SERVER_LOG_H

#include <cjson/cJSON.h>
#include <stdint.h>

enum hl_severity { HL_LOG_INFO, HL_LOG_WARNING, HL_LOG_ERROR };

/* `fields`, an object or NULL, follow the message; the call takes it over. */
void hl_log(enum hl_severity severity, const char *message, cJSON *fields);

/* A duration for people: nanoseconds as milliseconds, three digits behind the point. */
double hl_log_ms(uint64_t ns);

#endif
