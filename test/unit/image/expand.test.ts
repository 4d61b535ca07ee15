/** Variables in words by the cases of moby/buildkit (frontend/dockerfile/shell/envVarTest, wordsTest) and POSIX, Parameter Expansion. */
import { describe, expect, test } from 'vitest';
import { environment, expand, ExpansionError, expandWords, splitWords } from '../../../src/image/expand.js';

const lookup = environment(['PWD=/home', 'SHELL=bash', 'EMPTY=', 'LIST=one two', 'FILE=a/b.tar.gz']);

describe('a word', () => {
  test.each([
    ['hello', 'hello'],
    ["he'll'o", 'hello'],
    ["he\\'llo", "he'llo"],
    ['"he\'llo"', "he'llo"],
    ['he"ll"o', 'hello'],
    ['"hel\\lo"', 'hel\\lo'],
    ['"he\\"llo"', 'he"llo'],
    ["'he\\llo'", 'he\\llo'],
    ['he\\$PWD', 'he$PWD'],
    ["'$PWD'", '$PWD'],
    ['"$PWD"', '/home'],
    ['$', '$'],
    ['he$', 'he$'],
    ['he$.xx', 'he$.xx'],
    ['he$PWD', 'he/home'],
    ['he$PWD1x', 'he'],
    ['he${PWD}x', 'he/homex'],
    ['$1x', 'x'],
    ['${NONE:-x$PWD}', 'x/home'],
    ['${EMPTY:-x}', 'x'],
    ['${EMPTY-x}', ''],
    ['${NONE-x}', 'x'],
    ['${PWD:-x}', '/home'],
    ['${PWD:+x${SHELL}y}', 'xbashy'],
    ['${NONE:+x}', ''],
    ['${EMPTY+x}', 'x'],
    ['${EMPTY:+x}', ''],
    ['${PWD:?no}', '/home'],
    ['${NONE:-"two words"}', 'two words'],
    ['${FILE#*/}', 'b.tar.gz'],
    ['${FILE##*.}', 'gz'],
    ['${FILE#?}', '/b.tar.gz'],
    ['${FILE%.*}', 'a/b.tar'],
    ['${FILE%%.*}', 'a/b'],
    ['${FILE%x}', 'a/b.tar.gz'],
    ['${FILE/a/A}', 'A/b.tar.gz'],
    ['${FILE//a/A}', 'A/b.tAr.gz'],
    ['${FILE/./$SHELL}', 'a/bbashtar.gz'],
    ['${NONE#x}', ''],
  ])('%s', (word, value) => expect(expand(word, lookup)).toBe(value));

  test.each(['${', '${}', '${PWD', '${PWD:x}', '${NONE:?why}', '${NONE?}', '"open', "'open", '${PWD!x}'])(
    '%s is refused',
    (word) => expect(() => expand(word, lookup)).toThrow(ExpansionError),
  );

  test('the message of a variable that must be set', () => {
    expect(() => expand('${NONE:?why}', lookup)).toThrow('NONE: why');
  });

  test('another escape', () => {
    expect(expand('a\\b`$PWD', lookup, { escape: '`' })).toBe('a\\b$PWD');
  });
});

describe('words', () => {
  test.each<[string, string[]]>([
    ['a  b\tc', ['a', 'b', 'c']],
    ['"a b" c', ['a b', 'c']],
    ['a\\ b c', ['a b', 'c']],
    ['$LIST x', ['one', 'two', 'x']],
    ['x$LIST"y z"', ['xone', 'twoy z']],
    ['"$LIST"', ['one two']],
    ['$EMPTY', []],
    ['""', ['']],
    ['a "" b', ['a', '', 'b']],
  ])('%s', (text, words) => expect(expandWords(text, lookup)).toEqual(words));

  test('as they are written keep their quotes', () => {
    expect(splitWords('a="b c" d\\ e \'f g\'')).toEqual(['a="b c"', 'd\\ e', "'f g'"]);
  });
});
