/* All functions are in Context.h. */
#include "Context.h"
