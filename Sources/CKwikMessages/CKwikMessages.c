#include "CKwikMessages.h"
