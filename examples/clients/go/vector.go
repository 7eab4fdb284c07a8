package main

import (
	"encoding/binary"
	"math"
)

// unpack reads a packed vector: little-endian float32, one after another.
func unpack(packed []byte) []float32 {
	vector := make([]float32, len(packed)/4)
	for i := range vector {
		vector[i] = math.Float32frombits(binary.LittleEndian.Uint32(packed[4*i:]))
	}
	return vector
}

// dot is the scalar product. Embeddings have length 1, so that it is their cosine too.
func dot(a, b []float32) (sum float64) {
	for i := range a {
		sum += float64(a[i]) * float64(b[i])
	}
	return sum
}
