/* sender_greeting.c - see sender_internal.h: who we are. */
#include "sender_internal.h"

#include "qi_utf8.h"
#include "runtime.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define ARGUMENTS_MAX 64
#define ARGUMENTS_BYTES 4096u

/* --- PROCESS ---------------------------------------------------------------------- */

static void
encode_versions(struct qi_encoder *e, const struct qi_segment_header *h)
{
    const char *const names[] = {"qtinter", "python", "binding", "qt"};
    const char *const values[] = {h->qtinter, h->python, h->binding, h->qt};

    qi_encode_key(e, QI_KEY_PROCESS_versions);
    qi_encode_map(e, 4);
    for (int i = 0; i < 4; i++) {
        qi_encode_text(e, names[i], strlen(names[i]));
        qi_encode_text(e, values[i], strlen(values[i]));
    }
}

/* What the kernel has as the command line: texts that end with NUL each. */
static void
encode_arguments(struct qi_encoder *e)
{
    char bytes[ARGUMENTS_BYTES];
    char clean[ARGUMENTS_BYTES];
    FILE *file = fopen("/proc/self/cmdline", "re");
    size_t size = file == NULL ? 0 : fread(bytes, 1, sizeof(bytes), file);
    uint32_t n = 0;

    if (file != NULL) {
        (void)fclose(file);
    }
    qi_encode_key(e, QI_KEY_PROCESS_argv);
    size_t list = qi_encode_open_list(e);
    for (size_t at = 0; at < size && n < ARGUMENTS_MAX; n++) {
        size_t length = strnlen(bytes + at, size - at);
        size_t good = qi_utf8_clean(clean, sizeof(clean), bytes + at, length);
        qi_encode_text(e, clean, good);
        at += length + 1;
    }
    qi_encode_close_list(e, list, n);
}

static void
encode_exe(struct qi_encoder *e)
{
    char bytes[QI_PATH_MAX];
    char clean[QI_PATH_MAX];
    ssize_t n = readlink("/proc/self/exe", bytes, sizeof(bytes));
    size_t good = qi_utf8_clean(clean, sizeof(clean), bytes, n > 0 ? (size_t)n : 0);

    qi_encode_key(e, QI_KEY_PROCESS_exe);
    qi_encode_text(e, clean, good);
}

int
qi_sender_send_process(struct qi_sender *s)
{
    const struct qi_segment_header *h = &s->view.header;
    struct qi_encoder *e = &s->out;
    char path[QI_PATH_MAX];

    qi_utf8_copy(path, sizeof(path), s->client->path);
    int has_lints = s->client->lints[0] != '\0';
    qi_encode_begin(e, QI_MSG_PROCESS, ++s->seq, 11 + (uint32_t)has_lints);
    qi_encode_uint_field(e, QI_KEY_PROCESS_pid, h->pid);
    qi_encode_uint_field(e, QI_KEY_PROCESS_start, h->start_time);
    qi_encode_text_field(e, QI_KEY_PROCESS_name, h->name);
    qi_encode_text_field(e, QI_KEY_PROCESS_segment, path);
    qi_encode_int_field(e, QI_KEY_PROCESS_mono0, h->mono0);
    qi_encode_int_field(e, QI_KEY_PROCESS_wall0, h->wall0);
    qi_encode_uint_field(e, QI_KEY_PROCESS_level, (uint64_t)qi_client_level(s->client));
    qi_encode_bool_field(e, QI_KEY_PROCESS_control, s->client->control);
    encode_versions(e, h);
    encode_exe(e);
    encode_arguments(e);
    if (has_lints) {
        qi_encode_text_field(e, QI_KEY_PROCESS_lints, s->client->lints);
    }
    return qi_sender_end_frame(s);
}

/* --- handshake -------------------------------------------------------------------- */

static int
send_auth(struct qi_sender *s)
{
    static const char role[] = "app";
    struct qi_encoder *e = &s->out;
    uint8_t mac[QI_MAC_SIZE];

    qi_mac_client(s->key, s->their_nonce, s->our_nonce, role, strlen(role), mac);
    qi_encode_begin(e, QI_MSG_AUTH, ++s->seq, 6);
    qi_encode_uint_field(e, QI_KEY_AUTH_major, QI_PROTO_MAJOR);
    qi_encode_uint_field(e, QI_KEY_AUTH_minor, QI_PROTO_MINOR);
    qi_encode_text_field(e, QI_KEY_AUTH_role, role);
    qi_encode_key(e, QI_KEY_AUTH_client);
    char name[64];
    (void)snprintf(name, sizeof(name), "qtinter %s", s->view.header.qtinter);
    qi_encode_text(e, name, strlen(name));
    qi_encode_bytes_field(e, QI_KEY_AUTH_nonce, s->our_nonce, sizeof(s->our_nonce));
    qi_encode_bytes_field(e, QI_KEY_AUTH_hmac, mac, sizeof(mac));
    return qi_sender_end_frame(s);
}

void
qi_sender_on_hello(struct qi_sender *s, const struct qi_frame *frame)
{
    const struct qi_value *nonce = &frame->fields[QI_KEY_HELLO_nonce];

    if (!qi_frame_text_is(frame, QI_KEY_HELLO_magic, QI_PROTO_MAGIC)
        || qi_frame_uint(frame, QI_KEY_HELLO_major, 0) != QI_PROTO_MAJOR
        || nonce->size != QI_NONCE_SIZE
        || qi_runtime_key(s->client->directory, 1, s->key) != QI_RUNTIME_OK
        || qi_runtime_random(s->our_nonce, sizeof(s->our_nonce)) != QI_RUNTIME_OK) {
        qi_sender_refuse(s);
        return;
    }
    memcpy(s->their_nonce, nonce->bytes, QI_NONCE_SIZE);
    if (send_auth(s) < 0) {
        qi_sender_refuse(s);
        return;
    }
    qi_sender_set_state(s, QI_PROVING);
}

void
qi_sender_on_welcome(struct qi_sender *s, const struct qi_frame *frame)
{
    const struct qi_value *theirs = &frame->fields[QI_KEY_WELCOME_hmac];
    uint8_t mac[QI_MAC_SIZE];

    qi_mac_server(s->key, s->our_nonce, s->their_nonce, mac);
    if (theirs->size != QI_MAC_SIZE || !qi_mac_equal(mac, theirs->bytes)) {
        qi_sender_refuse(s); /* somebody who does not know the key sits on the socket */
        return;
    }
    s->retry_ms = s->times.retry_first_ms;
    s->process_is_due = 1;
    s->hz = 0;
    s->stall_ms = 0;
    s->with_records = 0;
    memset(&s->stalls, 0, sizeof(s->stalls));
    memset(s->open_requests, 0, sizeof(s->open_requests));
    s->samples.waiting_len = 0;
    s->samples.since = 0;
    qi_feed_reset(&s->feed);
    QI_STORE(s->counters.refused, 0);
    QI_ADD(s->counters.connects, 1);
    qi_sender_set_state(s, QI_ONLINE);
}
