#include "text.hpp"

#include "qi_utf8.h"

namespace qi {

QByteArray
textOf(const qi_frame &frame, unsigned key, qsizetype size)
{
    const qi_value &value = frame.fields[key];
    if (value.type != QI_VALUE_TEXT) {
        return {};
    }
    QByteArray text(qMin(size, qsizetype(value.size)) + 1, '\0');
    qi_frame_copy_text(&frame, key, text.data(), size_t(text.size()));
    text.truncate(qsizetype(qstrlen(text.constData())));
    return text;
}

QByteArray
cleanText(const char *text)
{
    QByteArray clean(qsizetype(qstrlen(text)) + 1, '\0');
    qi_utf8_copy(clean.data(), size_t(clean.size()), text);
    clean.truncate(qsizetype(qstrlen(clean.constData())));
    return clean;
}

QByteArray
printable(QByteArray text)
{
    for (char &c : text) {
        if (c < 0x20 || c > 0x7e) {
            c = '?';
        }
    }
    return text;
}

} // namespace qi
