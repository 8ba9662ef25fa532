/* requests.c - see requests.h. */
#include "requests.h"

#include "qi_utf8.h"

#include <string.h>

int
qi_requests_put(struct qi_requests *q, const struct qi_request *request)
{
    uint32_t in = q->asked_in;

    if (in - QI_LOAD_ACQUIRE(q->asked_out) == QI_REQUESTS_MAX) {
        return 1;
    }
    q->asked[in % QI_REQUESTS_MAX] = *request;
    QI_STORE_RELEASE(q->asked_in, in + 1);
    return 0;
}

int
qi_requests_take(struct qi_requests *q, struct qi_request *ret_request)
{
    uint32_t out = q->asked_out;

    if (QI_LOAD_ACQUIRE(q->asked_in) == out) {
        return 0;
    }
    *ret_request = q->asked[out % QI_REQUESTS_MAX];
    QI_STORE_RELEASE(q->asked_out, out + 1);
    return 1;
}

int
qi_requests_answer(struct qi_requests *q, uint32_t token, int ok, const char *text)
{
    uint32_t in = q->answers_in;

    if (in - QI_LOAD_ACQUIRE(q->answers_out) == QI_REQUESTS_MAX) {
        return 1;
    }
    struct qi_answer *answer = &q->answers[in % QI_REQUESTS_MAX];
    answer->token = token;
    answer->ok = ok;
    qi_utf8_copy(answer->text, sizeof(answer->text), text);
    QI_STORE_RELEASE(q->answers_in, in + 1);
    return 0;
}

const struct qi_answer *
qi_requests_next_answer(struct qi_requests *q)
{
    uint32_t out = q->answers_out;

    return QI_LOAD_ACQUIRE(q->answers_in) == out ? NULL
                                                 : &q->answers[out % QI_REQUESTS_MAX];
}

void
qi_requests_answered(struct qi_requests *q)
{
    QI_STORE_RELEASE(q->answers_out, q->answers_out + 1);
}
