#include "../../commands.h"
