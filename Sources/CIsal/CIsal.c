#include "CIsal.h"
