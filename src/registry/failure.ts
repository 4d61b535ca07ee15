/** What a registry says when it says no (distribution-spec, Error Codes), as errors in docker's words. */
import { LaminaError } from '../errors.js';
import type { ErrorCode } from '../errors.js';
import { readBody, shownUrl } from './http.js';
import type { HttpResponse } from './http.js';
import { printable } from './printable.js';

export interface RegistryFailure {
  status: number;
  /** Of the first error: MANIFEST_UNKNOWN, DENIED...; undefined where the answer is none of a registry. */
  code: string | undefined;
  /** As docker prints it: `denied: requested access to the resource is denied`. */
  text: string;
}

const MAX_ERROR_BYTES = 64 * 1024;
const MAX_SHOWN = 500;

/** Reads the answer to its end. */
export async function readFailure(response: HttpResponse): Promise<RegistryFailure> {
  const { status } = response;
  const bytes = await readBody(response, MAX_ERROR_BYTES).catch(() => Buffer.alloc(0));
  const errors = errorsIn(bytes);
  const first = errors[0];
  if (first === undefined)
    return { status, code: undefined, text: STATUS_TEXTS[status] ?? `unexpected status ${status}` };
  const text = errors
    .map(({ code, message }) => `${code.toLowerCase().replaceAll('_', ' ')}: ${message}`)
    .join('; ');
  return { status, code: first.code, text: printable(text.slice(0, MAX_SHOWN)) };
}

const STATUS_TEXTS: Readonly<Record<number, string>> = {
  401: 'unauthorized: authentication required',
  403: 'denied: requested access to the resource is denied',
  404: 'not found',
  429: 'toomanyrequests: the registry asks for patience',
};

function errorsIn(bytes: Buffer): { code: string; message: string }[] {
  try {
    const { errors } = JSON.parse(bytes.toString('utf8')) as { errors?: unknown };
    if (!Array.isArray(errors)) return [];
    return errors.flatMap((error: { code?: unknown; message?: unknown }) =>
      typeof error?.code === 'string'
        ? [{ code: error.code, message: typeof error.message === 'string' ? error.message : '' }]
        : [],
    );
  } catch {
    return [];
  }
}

/** An error about what was asked of a registry. `doing` says what: `cannot push x`. */
export async function unexpected(response: HttpResponse, doing: string): Promise<LaminaError> {
  const failure = await readFailure(response);
  return new LaminaError(errorCode(failure), `${doing}: ${failure.text}`, {
    ...(failure.code === undefined && failure.status !== 401 && failure.status !== 403
      ? { hint: `${shownUrl(response.url)} answered so; it may be no registry.` }
      : {}),
  });
}

export function errorCode({ status, code }: RegistryFailure): ErrorCode {
  return status === 401 || status === 403 || code === 'DENIED' || code === 'UNAUTHORIZED'
    ? 'EAUTH'
    : 'EREGISTRY';
}
