/**
 * Standard output in bytes: gathered into large writes that wait for a slow reader. File names go out as they are, as GNU ls prints
 * them, except on a terminal, which a name must not be able to drive. Also the arguments, whose bytes Node does not keep.
 */
import { readFileSync } from 'node:fs';
import type { ByteString } from '../../bytes.js';
import { bytesToBuffer, displayBytes, utf8ToBytes } from '../../bytes.js';

const CHUNK_CHARS = 64 * 1024;

export class Output {
  readonly #stream: NodeJS.WriteStream;
  #text: ByteString = '';

  constructor(stream: NodeJS.WriteStream) {
    this.#stream = stream;
  }

  /** A file name or a path, safe to print. */
  name(bytes: ByteString): ByteString {
    return this.#stream.isTTY ? utf8ToBytes(displayBytes(bytes)) : bytes;
  }

  /** Prints bytes; text that is not ASCII goes through utf8ToBytes first. */
  async print(bytes: ByteString): Promise<void> {
    this.#text += bytes;
    if (this.#text.length >= CHUNK_CHARS) await this.flush();
  }

  async write(bytes: Uint8Array): Promise<void> {
    await this.flush();
    await this.#send(bytes);
  }

  /** Writes what is gathered, and waits while the stream is full. */
  async flush(): Promise<void> {
    if (this.#text === '') return;
    const bytes = bytesToBuffer(this.#text);
    this.#text = '';
    await this.#send(bytes);
  }

  async #send(bytes: Uint8Array): Promise<void> {
    if (this.#stream.write(bytes)) return;
    await new Promise((resolve) => this.#stream.once('drain', resolve));
  }
}

/** Prints a JSON array, one element a line. */
export class JsonArray {
  readonly #out: Output;
  #count = 0;

  constructor(out: Output) {
    this.#out = out;
  }

  async add(value: object): Promise<void> {
    await this.#out.print(`${this.#count++ === 0 ? '[' : ','}\n${jsonText(value)}`);
  }

  async end(): Promise<void> {
    await this.#out.print(this.#count === 0 ? '[]\n' : '\n]\n');
  }
}

/** JSON as UTF-8 bytes, with what could drive a terminal escaped. */
export function jsonText(value: object): ByteString {
  const text = JSON.stringify(value).replace(
    /[\u007f-\u009f\u2028\u2029\u202a-\u202e\u2066-\u2069]/g,
    (char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
  return utf8ToBytes(text);
}

/** A name for JSON: text when it is UTF-8; otherwise escaped, with the bytes beside it in base64 as `<field>Bytes`. */
export function jsonName(field: string, bytes: ByteString): Record<string, string> {
  // Nearly all names; Buffers are what takes time.
  if (/^[\x00-\x7f]*$/.test(bytes)) return { [field]: bytes };
  const buffer = bytesToBuffer(bytes);
  const text = buffer.toString('utf8');
  if (buffer.equals(Buffer.from(text))) return { [field]: text };
  return { [field]: displayBytes(bytes), [`${field}Bytes`]: buffer.toString('base64') };
}

/**
 * The bytes of a command-line argument. Node decodes arguments as UTF-8 and loses what is none; where it did, the kernel
 * still has them (proc_pid_cmdline(5)).
 */
export function argumentBytes(text: string): ByteString {
  if (!text.includes('\ufffd')) return utf8ToBytes(text);
  try {
    const given = readFileSync('/proc/self/cmdline').toString('latin1').split('\0');
    return given.find((bytes) => bytesToBuffer(bytes).toString('utf8') === text) ?? utf8ToBytes(text);
  } catch {
    return utf8ToBytes(text);
  }
}
