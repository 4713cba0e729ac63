//go:build gc

#include "textflag.h"

// func prefetchAt(p unsafe.Pointer)
TEXT ·prefetchAt(SB), NOSPLIT, $0-8
	MOVD p+0(FP), R0
	PRFM (R0), PLDL1KEEP
	PRFM 64(R0), PLDL1KEEP
	RET
