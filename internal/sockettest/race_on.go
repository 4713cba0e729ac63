//go:build race

package sockettest

const raceDetector = true
