/**
 * Names, paths and xattr names are bytes, not text. Inside the program they are `ByteString`s: JavaScript strings
 * in which every character code is one byte (Latin-1). They are as small as the bytes, work as Map keys, and compare
 * by byte order with `<`. They become text only where a person reads them (`displayBytes`) or types them (`utf8ToBytes`).
 */

/** A string whose char codes are all 0..255, each one byte. */
export type ByteString = string;

/** Extended attributes in byte order of their names; none is undefined, never an empty list. */
export type Xattrs = readonly { readonly name: ByteString; readonly value: Buffer }[];

/** Text typed by a person or taken from JSON -> its UTF-8 bytes. */
export function utf8ToBytes(text: string): ByteString {
  return isAscii(text) ? text : Buffer.from(text, 'utf8').toString('latin1');
}

/** Bytes -> Buffer, for writing them out. */
export function bytesToBuffer(bytes: ByteString): Buffer {
  return Buffer.from(bytes, 'latin1');
}

/** Buffer -> bytes. */
export function bufferToBytes(buffer: Uint8Array): ByteString {
  return Buffer.from(buffer.buffer, buffer.byteOffset, buffer.byteLength).toString('latin1');
}

/** Byte order, as memcmp: for Array.prototype.sort. */
export function compareBytes(a: ByteString, b: ByteString): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

const UTF8 = new TextDecoder('utf-8', { fatal: true });

/**
 * Bytes for a person: valid UTF-8 is shown as text, except that control characters, backslashes and every byte that is
 * not UTF-8 are shown as `\xNN`. A terminal can therefore not be driven by a file name.
 */
export function displayBytes(bytes: ByteString): string {
  if (/^[\x20-\x5b\x5d-\x7e]*$/.test(bytes)) return bytes;
  try {
    const text = UTF8.decode(bytesToBuffer(bytes));
    if (!/[\u0000-\u001f\u007f-\u009f\u2028\u2029\u202a-\u202e\u2066-\u2069]/u.test(text))
      return text.replaceAll('\\', '\\x5c');
  } catch {
    // Not UTF-8: every byte that is not printable ASCII is escaped below.
  }
  return escapeBytes(bytes, ' ');
}

/** The escaping of the canonical dump (FORMAT.md): printable ASCII but space and backslash, the rest as `\xNN`. */
export function escapeBytes(bytes: ByteString, alsoPlain = ''): string {
  if (/^[\x21-\x5b\x5d-\x7e]*$/.test(bytes)) return bytes;
  let text = '';
  for (const char of bytes) {
    const code = char.charCodeAt(0);
    const plain = (code > 0x20 && code < 0x7f && code !== 0x5c) || alsoPlain.includes(char);
    text += plain ? char : `\\x${code.toString(16).padStart(2, '0')}`;
  }
  return text;
}

function isAscii(text: string): boolean {
  return /^[\x00-\x7f]*$/.test(text);
}
