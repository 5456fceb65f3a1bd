/** hash-wasm's build of SHA-256 alone: its whole is ten times as large, and is not taken apart by the bundler. */
declare module 'hash-wasm/dist/sha256.umd.min.js' {
  export { createSHA256, type IHasher } from 'hash-wasm';
}
