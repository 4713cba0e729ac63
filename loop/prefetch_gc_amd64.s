//go:build gc

#include "textflag.h"

// func prefetchAt(p unsafe.Pointer)
TEXT ·prefetchAt(SB), NOSPLIT, $0-8
	MOVQ p+0(FP), AX
	PREFETCHT0 (AX)
	PREFETCHT0 64(AX)
	RET
