#ifndef HOTLAYER_VERSION_H
#define HOTLAYER_VERSION_H

#define HL_VERSION "0.1.0"

#endif
