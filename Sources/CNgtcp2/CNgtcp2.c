#include "CNgtcp2.h"
