// The part of crc-32 that its own types leave out: CRC-32 with Castagnoli's polynomial.
declare module 'crc-32/crc32c.js' {
  const crc32c: { buf(data: Uint8Array): number }
  export default crc32c
}
