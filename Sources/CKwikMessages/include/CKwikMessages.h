// The KCP messages as protobuf-c has them. Made from kcp.proto by regenerate.sh.
#pragma once
#include "kcp.pb-c.h"
