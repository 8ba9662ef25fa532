// frame.hpp - building frames in one buffer, for C++.
#ifndef QI_DAEMON_FRAME_HPP
#define QI_DAEMON_FRAME_HPP

#include "wire.h"

#include <QByteArray>
#include <QByteArrayView>

#include <memory>

namespace qi {

// One frame at a time.  The buffer is shared by all frames of the daemon's only thread.
class Frame {
  public:
    Frame(unsigned message, uint32_t seq, uint32_t fields)
    {
        static const auto buffer = std::make_unique<uint8_t[]>(QI_FRAME_MAX + 64);
        qi_encoder_init(&m_encoder, buffer.get(), QI_FRAME_MAX + 64);
        qi_encode_begin(&m_encoder, message, seq, fields);
    }

    qi_encoder *
    operator*()
    {
        return &m_encoder;
    }
    size_t
    size() const
    {
        return m_encoder.size;
    }

    Frame &
    number(unsigned key, uint64_t value)
    {
        qi_encode_uint_field(&m_encoder, key, value);
        return *this;
    }
    Frame &
    signedNumber(unsigned key, int64_t value)
    {
        qi_encode_int_field(&m_encoder, key, value);
        return *this;
    }
    Frame &
    flag(unsigned key, bool value)
    {
        qi_encode_bool_field(&m_encoder, key, value);
        return *this;
    }
    Frame &
    text(unsigned key, const QByteArray &value)
    {
        qi_encode_key(&m_encoder, key);
        qi_encode_text(&m_encoder, value.constData(), size_t(value.size()));
        return *this;
    }
    Frame &
    bytes(unsigned key, const void *value, size_t size)
    {
        qi_encode_bytes_field(&m_encoder, key, value, size);
        return *this;
    }

    // The frame's bytes, valid until the next Frame; empty if it did not fit.
    QByteArrayView
    done()
    {
        if (qi_encode_end(&m_encoder) < 0) {
            return {};
        }
        return {reinterpret_cast<const char *>(m_encoder.bytes),
                qsizetype(m_encoder.size)};
    }

  private:
    qi_encoder m_encoder;
};

} // namespace qi

#endif
