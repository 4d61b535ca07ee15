/** The socket on which the server asks for bytes (FORMAT.md, Asking for bytes): one connection, one question, one answer. */
import { rmSync } from 'node:fs';
import net from 'node:net';
import { constants } from 'node:os';

const QUESTION_BYTES = 24;
const ANSWER_BYTES = 8;

export interface Question {
  source: number;
  offset: number;
  length: number;
}

/** Answers 0 when the bytes are there, else an errno. `isWanted` turns false when the asker has gone. */
export type Answerer = (question: Question, isWanted: () => boolean) => Promise<number>;

/** Listens at `address`, where one that died may have left its socket. */
export function listen(address: string, answer: Answerer): Promise<net.Server> {
  rmSync(address, { force: true });
  const server = net.createServer((socket) => serve(socket, answer));
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(address, () => resolve(server));
  });
}

function serve(socket: net.Socket, answer: Answerer): void {
  let isOpen = true;
  let bytes = Buffer.alloc(0);
  let isAsked = false;
  socket.on('error', () => {}).on('close', () => (isOpen = false));
  socket.on('data', (chunk) => {
    if (isAsked) return;
    bytes = Buffer.concat([bytes, chunk]);
    if (bytes.length < QUESTION_BYTES) return;
    isAsked = true;
    const question = {
      source: bytes.readUInt32LE(0),
      offset: Number(bytes.readBigUInt64LE(8)),
      length: Number(bytes.readBigUInt64LE(16)),
    };
    void answer(question, () => isOpen)
      .catch(() => constants.errno.EIO)
      .then((error) => {
        const reply = Buffer.alloc(ANSWER_BYTES);
        reply.writeUInt32LE(error);
        if (isOpen) socket.end(reply);
      });
  });
}
