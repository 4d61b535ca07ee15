/** eq, ne, lt, le, gt and ge (text/template/funcs.go). */
import { compareStrings, concrete, kindOf, Nil, numberOf, typeOf } from './values.js';
import { sprintf } from './printf.js';
import { printed } from './print.js';

const BAD_TYPE = 'invalid type for comparison';
const INCOMPATIBLE = 'incompatible types for comparison';

type Basic = 'bool' | 'int' | 'float' | 'string';

function basicKind(value: unknown): Basic | undefined {
  const kind = kindOf(value);
  return kind === 'bool' || kind === 'int' || kind === 'float' || kind === 'string' ? kind : undefined;
}

/** `first` equals one of `others`. */
export function equal(first: unknown, others: readonly unknown[]): boolean {
  if (others.length === 0) throw new Error('missing argument for comparison');
  const left = concrete(first);
  return others.some((other) => equalTwo(left, concrete(other)));
}

function equalTwo(left: unknown, right: unknown): boolean {
  const [leftKind, rightKind] = [basicKind(left), basicKind(right)];
  const isAbsent = kindOf(left) === 'invalid' || kindOf(right) === 'invalid';
  if (leftKind !== rightKind) {
    if (isAbsent) return false;
    throw new Error(INCOMPATIBLE);
  }
  if (leftKind === 'int') return BigInt(left as number | bigint) === BigInt(right as number | bigint);
  if (leftKind === 'float') return numberOf(left) === numberOf(right);
  if (leftKind !== undefined) return left === right;
  if (!isAbsent && kindOf(left) !== kindOf(right))
    throw new Error(
      `non-comparable types ${sprintf('%s', [left])}: ${typeOf(left)}, ${typeOf(right)}: ${printed(right)}`,
    );
  if (isNil(left) || isNil(right)) return isNil(left) === isNil(right);
  if (['slice', 'map', 'func'].includes(kindOf(right)))
    throw new Error(`non-comparable type ${sprintf('%s', [right])}: ${typeOf(right)}`);
  return left === right;
}

function isNil(value: unknown): boolean {
  return value instanceof Nil || kindOf(value) === 'invalid';
}

export function less(first: unknown, second: unknown): boolean {
  const [left, right] = [concrete(first), concrete(second)];
  const [leftKind, rightKind] = [basicKind(left), basicKind(right)];
  if (leftKind === undefined || rightKind === undefined) throw new Error(BAD_TYPE);
  if (leftKind !== rightKind) throw new Error(INCOMPATIBLE);
  if (leftKind === 'bool') throw new Error(BAD_TYPE);
  if (leftKind === 'string') return compareStrings(left as string, right as string) < 0;
  if (leftKind === 'float') return numberOf(left) < numberOf(right);
  return BigInt(left as number | bigint) < BigInt(right as number | bigint);
}

export function lessOrEqual(first: unknown, second: unknown): boolean {
  return less(first, second) || equal(first, [second]);
}
