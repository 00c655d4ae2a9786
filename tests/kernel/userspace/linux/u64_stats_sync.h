#include "../commands.h"
