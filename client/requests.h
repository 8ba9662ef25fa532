/*
 * requests.h - what the outside asks of the application, and its answers.
 *
 * Two bounded queues between the sender thread and the producer, one writer and one
 * reader each: no lock, no allocation, nobody waits.  A full queue refuses.
 *
 *   sender   --requests-->  producer  (takes them where it may touch its tasks)
 *            <--answers---
 */
#ifndef QI_CLIENT_REQUESTS_H
#define QI_CLIENT_REQUESTS_H

#include "qi_client.h"

#define QI_REQUESTS_MAX 8u /* waiting at once; a power of two */
#define QI_ANSWER_TEXT 8192

struct qi_answer {
    uint32_t token;
    int ok;
    char text[QI_ANSWER_TEXT]; /* NUL-terminated */
};

struct qi_requests {
    /* [sender] writes, [producer] reads */
    struct qi_request asked[QI_REQUESTS_MAX];
    uint32_t asked_in;    /* ever put in */
    uint32_t answers_out; /* answers ever taken */
    /* [producer] writes, [sender] reads */
    uint32_t asked_out;
    uint32_t answers_in;
    struct qi_answer answers[QI_REQUESTS_MAX];
};

/* [sender] 0; 1 when it is full. */
int qi_requests_put(struct qi_requests *q, const struct qi_request *request);

/* [producer] 1 and a request; 0 when there is none. */
int qi_requests_take(struct qi_requests *q, struct qi_request *ret_request);

/* [producer] Copies the text (NULL: empty), cut where it does not fit.  0; 1 when full.
 */
int qi_requests_answer(struct qi_requests *q, uint32_t token, int ok, const char *text);

/* [sender] The oldest answer, or NULL; it stays until qi_requests_answered(). */
const struct qi_answer *qi_requests_next_answer(struct qi_requests *q);
void qi_requests_answered(struct qi_requests *q);

#endif
