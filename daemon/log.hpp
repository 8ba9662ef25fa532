// log.hpp - the daemon's logging categories; QT_LOGGING_RULES chooses among them.
#ifndef QI_DAEMON_LOG_HPP
#define QI_DAEMON_LOG_HPP

#include <QLoggingCategory>

namespace qi {

Q_DECLARE_LOGGING_CATEGORY(logServer)  // qtinterd.server
Q_DECLARE_LOGGING_CATEGORY(logSession) // qtinterd.session
Q_DECLARE_LOGGING_CATEGORY(logApp)     // qtinterd.app

} // namespace qi

#endif
