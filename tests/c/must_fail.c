/* must_fail.c - a test of the tests: CTest expects it to fail, so that a CHECK that
   checks nothing, or a runner that hears nothing, is noticed. */
#include "qi_test.h"

int
main(void)
{
    CHECK_INT(1 + 1, 3);
    return 0;
}
