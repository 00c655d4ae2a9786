#include_next <asm/byteorder.h>
#include "../kernel.h"
