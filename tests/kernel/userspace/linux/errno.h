#include_next <linux/errno.h>
#include "../kernel.h"
