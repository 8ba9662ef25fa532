// text.hpp - what peers say in words: cut, and made fit to be logged.
#ifndef QI_DAEMON_TEXT_HPP
#define QI_DAEMON_TEXT_HPP

#include "wire.h"

#include <QByteArray>

namespace qi {

// A text field in at most `size` bytes, cut at a character; empty if it is not there.
QByteArray textOf(const qi_frame &frame, unsigned key, qsizetype size = 512);

// A text of whoever's as UTF-8 for certain.
QByteArray cleanText(const char *text);

// A flag; false if it is not there.
inline bool
flagOf(const qi_frame &frame, unsigned key)
{
    const qi_value &value = frame.fields[key];
    return value.type == QI_VALUE_BOOL && value.u != 0;
}

// In one line of a log: what is no printable ASCII character becomes '?'.
QByteArray printable(QByteArray text);

} // namespace qi

#endif
