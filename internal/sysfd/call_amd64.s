//go:build linux && gc && !race && !msan && !asan

#include "textflag.h"

// func call(trap, fd uintptr, p unsafe.Pointer, n, flags uintptr) (r uintptr, errno syscall.Errno)
TEXT ·call(SB), NOSPLIT, $0-56
	MOVQ trap+0(FP), AX
	MOVQ fd+8(FP), DI
	MOVQ p+16(FP), SI
	MOVQ n+24(FP), DX
	MOVQ flags+32(FP), R10
	XORL R8, R8
	XORL R9, R9
	SYSCALL
	CMPQ AX, $-4095
	JCC  failed
	MOVQ AX, r+40(FP)
	MOVQ $0, errno+48(FP)
	RET

failed:
	NEGQ AX
	MOVQ $0, r+40(FP)
	MOVQ AX, errno+48(FP)
	RET
