package datastream

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"math"
	"reflect"
	"strings"
	"testing"
)

// value is one value in both directions.
type value struct {
	write func(*Writer)
	read  func(*Reader) any
	want  any // what read returns
}

func boolean(v bool) value {
	return value{func(w *Writer) { w.Bool(v) }, func(r *Reader) any { return r.Bool() }, v}
}
func float32s(v float32) value {
	return value{func(w *Writer) { w.Float32(v) }, func(r *Reader) any { return r.Float32() }, v}
}
func float64s(v float64) value {
	return value{func(w *Writer) { w.Float64(v) }, func(r *Reader) any { return r.Float64() }, v}
}
func text(v string) value {
	return value{func(w *Writer) { w.String(v) }, func(r *Reader) any { return r.String() }, strings.ToValidUTF8(v, "\uFFFD")}
}
func byteArray(v []byte) value {
	return value{func(w *Writer) { w.ByteArray(v) }, func(r *Reader) any { return r.ByteArray() }, v}
}
func nullByteArray(r *Reader) any {
	b, ok := r.NullByteArray()
	return [2]any{b, ok}
}
func stringList(v []string) value {
	return value{func(w *Writer) { w.StringList(v) }, func(r *Reader) any { return r.StringList() }, v}
}

// returning is v if what is read differs from what is written.
func (v value) returning(want any) value { return value{v.write, v.read, want} }

// qtTests holds what Qt 5.15.8 and Qt 6.4.2 wrote, byte for byte the same in both, in the versions of all, which are Qt_4_0, Qt_4_5,
// Qt_4_6 and the default of each, unless it says otherwise.
var qtTests = []struct {
	name        string
	value       value
	big, little string
	single      bool
	versions    []Version
}{
	{name: "true", value: boolean(true), big: "01", little: "01"},
	{name: "false", value: boolean(false), big: "00", little: "00"},
	{
		name:  "qint8",
		value: value{func(w *Writer) { w.Int8(-2) }, func(r *Reader) any { return r.Int8() }, int8(-2)},
		big:   "fe", little: "fe",
	},
	{
		name:  "qint16",
		value: value{func(w *Writer) { w.Int16(-2) }, func(r *Reader) any { return r.Int16() }, int16(-2)},
		big:   "fffe", little: "feff",
	},
	{
		name:  "qint32",
		value: value{func(w *Writer) { w.Int32(-2) }, func(r *Reader) any { return r.Int32() }, int32(-2)},
		big:   "fffffffe", little: "feffffff",
	},
	{
		name:  "qint64",
		value: value{func(w *Writer) { w.Int64(-2) }, func(r *Reader) any { return r.Int64() }, int64(-2)},
		big:   "fffffffffffffffe", little: "feffffffffffffff",
	},
	{
		name:  "quint8",
		value: value{func(w *Writer) { w.Uint8(0xfe) }, func(r *Reader) any { return r.Uint8() }, uint8(0xfe)},
		big:   "fe", little: "fe",
	},
	{
		name:  "quint16",
		value: value{func(w *Writer) { w.Uint16(0x0102) }, func(r *Reader) any { return r.Uint16() }, uint16(0x0102)},
		big:   "0102", little: "0201",
	},
	{
		name:  "quint32",
		value: value{func(w *Writer) { w.Uint32(0x01020304) }, func(r *Reader) any { return r.Uint32() }, uint32(0x01020304)},
		big:   "01020304", little: "04030201",
	},
	{
		name:  "quint64",
		value: value{func(w *Writer) { w.Uint64(0x0102030405060708) }, func(r *Reader) any { return r.Uint64() }, uint64(0x0102030405060708)},
		big:   "0102030405060708", little: "0807060504030201",
	},

	// Before Qt_4_6 a float has 4 bytes and a double 8, whatever the precision.
	{name: "float", value: float32s(0.1), big: "3dcccccd", little: "cdcccc3d", versions: []Version{Qt_4_0, Qt_4_5}},
	{name: "double", value: float64s(0.1), big: "3fb999999999999a", little: "9a9999999999b93f", versions: []Version{Qt_4_0, Qt_4_5}},
	{name: "float single", value: float32s(0.1), big: "3dcccccd", little: "cdcccc3d", single: true, versions: []Version{Qt_4_0, Qt_4_5}},
	{name: "double single", value: float64s(0.1), big: "3fb999999999999a", little: "9a9999999999b93f", single: true, versions: []Version{Qt_4_0, Qt_4_5}},

	// From Qt_4_6 on the precision is the stream's, not the value's.
	{name: "float 4.6", value: float32s(1.5), big: "3ff8000000000000", little: "000000000000f83f", versions: from4_6},
	{name: "double 4.6", value: float64s(1.5), big: "3ff8000000000000", little: "000000000000f83f", versions: from4_6},
	{name: "float 0.1 4.6", value: float32s(0.1), big: "3fb99999a0000000", little: "000000a09999b93f", versions: from4_6},
	{name: "double 0.1 4.6", value: float64s(0.1), big: "3fb999999999999a", little: "9a9999999999b93f", versions: from4_6},
	{name: "float inf 4.6", value: float32s(float32(math.Inf(1))), big: "7ff0000000000000", little: "000000000000f07f", versions: from4_6},
	{name: "double 1e300 4.6", value: float64s(1e300), big: "7e37e43c8800759c", little: "9c7500883ce4377e", versions: from4_6},
	{name: "float single 4.6", value: float32s(1.5), big: "3fc00000", little: "0000c03f", single: true, versions: from4_6},
	{name: "double single 4.6", value: float64s(1.5), big: "3fc00000", little: "0000c03f", single: true, versions: from4_6},
	{name: "float 0.1 single 4.6", value: float32s(0.1), big: "3dcccccd", little: "cdcccc3d", single: true, versions: from4_6},
	{
		name: "double 0.1 single 4.6", value: float64s(0.1).returning(float64(float32(0.1))),
		big: "3dcccccd", little: "cdcccc3d", single: true, versions: from4_6,
	},
	{
		name: "double 1e300 single 4.6", value: float64s(1e300).returning(math.Inf(1)),
		big: "7f800000", little: "0000807f", single: true, versions: from4_6,
	},

	{
		name:  "QString null",
		value: value{func(w *Writer) { w.NullString() }, func(r *Reader) any { s, ok := r.NullString(); return [2]any{s, ok} }, [2]any{"", false}},
		big:   "ffffffff", little: "ffffffff",
	},
	{
		name:  "QString null read as a string",
		value: value{func(w *Writer) { w.NullString() }, func(r *Reader) any { return r.String() }, ""},
		big:   "ffffffff", little: "ffffffff",
	},
	{
		name:  "QString empty",
		value: value{func(w *Writer) { w.String("") }, func(r *Reader) any { s, ok := r.NullString(); return [2]any{s, ok} }, [2]any{"", true}},
		big:   "00000000", little: "00000000",
	},
	{name: "QString", value: text("Hi é"), big: "00000008 0048 0069 0020 00e9", little: "08000000 4800 6900 2000 e900"},
	{name: "QString surrogates", value: text("😀"), big: "00000004 d83d de00", little: "04000000 3dd8 00de"},
	{name: "QString U+0000", value: text("\x00"), big: "00000002 0000", little: "02000000 0000"},
	{name: "QString not UTF-8", value: text("a\xffb"), big: "00000006 0061 fffd 0062", little: "06000000 6100 fdff 6200"},
	{
		name: "QString cut UTF-8", value: text("a\xe2\x82b").returning("a\uFFFD\uFFFDb"),
		big: "00000008 0061 fffd fffd 0062", little: "08000000 6100 fdff fdff 6200",
	},

	{name: "QByteArray null", value: byteArray(nil), big: "ffffffff", little: "ffffffff"},
	{
		name:  "QByteArray null by name",
		value: value{func(w *Writer) { w.NullByteArray() }, nullByteArray, [2]any{[]byte(nil), false}},
		big:   "ffffffff", little: "ffffffff",
	},
	{
		name:  "QByteArray empty by name",
		value: value{func(w *Writer) { w.ByteArray([]byte{}) }, nullByteArray, [2]any{[]byte{}, true}},
		big:   "00000000", little: "00000000",
	},
	{name: "QByteArray empty", value: byteArray([]byte{}), big: "00000000", little: "00000000"},
	{name: "QByteArray", value: byteArray([]byte("abc")), big: "00000003 616263", little: "03000000 616263"},
	{
		name:  "raw",
		value: value{func(w *Writer) { w.Raw([]byte("abc")) }, func(r *Reader) any { return r.Raw(3) }, []byte("abc")},
		big:   "616263", little: "616263",
	},

	{name: "QStringList empty", value: stringList([]string{}), big: "00000000", little: "00000000"},
	{
		name: "QStringList", value: stringList([]string{"a", "", "é"}),
		big: "00000003 00000002 0061 00000000 00000002 00e9", little: "03000000 02000000 6100 00000000 02000000 e900",
	},
}

var (
	all     = []Version{Qt_4_0, Qt_4_5, Qt_4_6, Qt_5_13, Qt_6_0}
	from4_6 = []Version{Qt_4_6, Qt_5_13, Qt_6_0, Qt_6_7, Qt_6_11, 0, 99}
)

func TestQtBytes(t *testing.T) {
	for _, tt := range qtTests {
		versions := tt.versions
		if versions == nil {
			versions = append(all, from4_6...)
		}
		for _, version := range versions {
			for _, order := range []struct {
				name  string
				order interface {
					binary.ByteOrder
					binary.AppendByteOrder
				}
				want string
			}{{"big", binary.BigEndian, tt.big}, {"little", binary.LittleEndian, tt.little}} {
				var got bytes.Buffer
				w := NewWriter(&got)
				w.Version, w.Order, w.SinglePrecision = version, order.order, tt.single
				tt.value.write(w)
				want := unhex(t, order.want)
				if err := w.Flush(); err != nil || !bytes.Equal(got.Bytes(), want) {
					t.Errorf("%s, version %d, %s: wrote %x, %v; Qt writes %x", tt.name, version, order.name, got.Bytes(), err, want)
				}
				r := NewReader(bytes.NewReader(want))
				r.Version, r.Order, r.SinglePrecision = version, order.order, tt.single
				if v := tt.value.read(r); r.Err() != nil || !reflect.DeepEqual(v, tt.value.want) {
					t.Errorf("%s, version %d, %s: read %#v, %v; want %#v", tt.name, version, order.name, v, r.Err(), tt.value.want)
				}
				if n := r.Buffered(); n != 0 {
					t.Errorf("%s, version %d, %s: %d bytes were left", tt.name, version, order.name, n)
				}
			}
		}
	}
}

// TestQtReads holds what Qt 5.15.8 and Qt 6.4.2 made of bytes that they would not have written.
func TestQtReads(t *testing.T) {
	for _, tt := range []struct {
		name  string
		bytes string
		read  func(*Reader) any
		want  any
	}{
		{"high surrogate alone", "00000004 d83d 0041", func(r *Reader) any { return r.String() }, "\uFFFDA"},
		{"low surrogate alone", "00000004 de00 0041", func(r *Reader) any { return r.String() }, "\uFFFDA"},
		{"high surrogate before a pair", "00000006 d83d d83d de00", func(r *Reader) any { return r.String() }, "\uFFFD😀"},
		{"high surrogate at the end", "00000002 d83d", func(r *Reader) any { return r.String() }, "\uFFFD"},
		{"byte order mark", "00000004 feff 0041", func(r *Reader) any { return r.String() }, "\uFEFFA"},
		{"reversed byte order mark", "00000004 fffe 4100", func(r *Reader) any { return r.String() }, "\uFFFE\u4100"},
		{"QStringList with null", "00000002 ffffffff 00000000", func(r *Reader) any { return r.StringList() }, []string{"", ""}},
		{"bool 2", "02", func(r *Reader) any { return r.Bool() }, true},
		{"bool ff", "ff", func(r *Reader) any { return r.Bool() }, true},
		{"float of a double too large", "7e37e43c8800759c", func(r *Reader) any { return r.Float32() }, float32(math.Inf(1))},
	} {
		r := NewReader(bytes.NewReader(unhex(t, tt.bytes)))
		if got := tt.read(r); r.Err() != nil || !reflect.DeepEqual(got, tt.want) {
			t.Errorf("%s: read %q, %v; want %q", tt.name, got, r.Err(), tt.want)
		}
	}
}

func TestVersionNumbers(t *testing.T) {
	for name, v := range map[string][2]Version{
		"Qt_4_1": {Qt_4_1, 7}, "Qt_4_9": {Qt_4_9, 12}, "Qt_5_3": {Qt_5_3, 15}, "Qt_5_5": {Qt_5_5, 16}, "Qt_5_11": {Qt_5_11, 17},
		"Qt_5_12": {Qt_5_12, 18}, "Qt_5_15": {Qt_5_15, 19}, "Qt_6_5": {Qt_6_5, 20}, "Qt_6_6": {Qt_6_6, 21}, "Qt_6_9": {Qt_6_9, 22},
		"Qt_6_10": {Qt_6_10, 23},
	} {
		if v[0] != v[1] {
			t.Errorf("%s is %d, and %d in Qt", name, v[0], v[1])
		}
	}
}

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}
