// version.hpp - the version of the package, given by the build.
#ifndef QI_DAEMON_VERSION_HPP
#define QI_DAEMON_VERSION_HPP

#ifndef QI_VERSION_TEXT
#  define QI_VERSION_TEXT "unknown"
#endif

#endif
