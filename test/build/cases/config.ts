/** Instructions that only change the config, and variables. */
import type { BuildCase } from '../case.js';

export const CONFIG_CASES: readonly BuildCase[] = [
  { name: 'CMD, exec form', dockerfile: 'FROM base\nCMD ["a", "b c", "d\\"e"]' },
  { name: 'CMD, shell form', dockerfile: 'FROM base\nCMD echo $HOME "x"' },
  { name: 'CMD, what looks like JSON and is none', dockerfile: "FROM base\nCMD ['a', 'b']" },
  { name: 'CMD twice, the last counts', dockerfile: 'FROM base\nCMD ["a"]\nCMD ["b"]' },
  { name: 'ENTRYPOINT takes the command of the base away', dockerfile: 'FROM base\nENTRYPOINT ["/x"]' },
  { name: 'ENTRYPOINT after CMD of the same stage', dockerfile: 'FROM base\nCMD ["a"]\nENTRYPOINT ["/x"]' },
  { name: 'ENTRYPOINT, shell form', dockerfile: 'FROM base\nENTRYPOINT exec top -b' },
  { name: 'ENTRYPOINT []', dockerfile: 'FROM base\nENTRYPOINT ["/x"]\nENTRYPOINT []' },
  {
    name: 'SHELL counts for what follows',
    differences: [
      {
        config: 'Cmd',
        reason: 'buildah 1.28 gives a command of the shell form /bin/sh -c, whatever SHELL says',
      },
      { config: 'Entrypoint', reason: 'as Cmd' },
    ],
    dockerfile: 'FROM base\nSHELL ["/bin/sh", "-ec"]\nCMD echo x\nENTRYPOINT echo y\nRUN echo $0 > /shell',
  },
  { name: 'ENV, pairs with quotes', dockerfile: 'FROM base\nENV A=1 B="two words" C=a\\ b D=\'$A\' E=' },
  { name: 'ENV, the old form', dockerfile: 'FROM base\nENV A the  rest of it' },
  {
    name: 'ENV sees the environment from before it',
    dockerfile: 'FROM base\nENV A=1\nENV A=2 B=$A\nENV C=${A}$B',
  },
  {
    name: 'ENV replaces what is there in its place',
    differences: [
      {
        config: 'Env',
        reason: 'buildah 1.28 moves a changed variable to the end; docker leaves it in its place',
      },
    ],
    dockerfile: 'FROM base\nENV X=1 PATH=/x:$PATH',
  },
  {
    name: 'ENV over several lines with comments',
    dockerfile: 'FROM base\nENV A=1 \\\n  # comment\n  B=2 \\\n\n  C=3',
  },
  {
    name: 'modifiers of variables',
    dockerfile:
      'FROM base\nENV S=set E=\nENV A=${S:-x} B=${N:-x} C=${E:-x} D=${S:+y} F=${N:+y} G=${E:+y} K=${N:-${S}}',
  },
  { name: 'escaped variables', dockerfile: 'FROM base\nENV S=set\nENV A=\\$S B="\\$S" C=\'$S\' D=\\\\$S' },
  {
    name: 'LABEL',
    dockerfile: 'FROM base\nLABEL a=b "c d"="e f" multi="one \\\ntwo"\nLABEL a=second $PATH=x',
  },
  { name: 'LABEL, the old form', dockerfile: 'FROM base\nLABEL name some value' },
  { name: 'MAINTAINER', dockerfile: 'FROM base\nMAINTAINER Somebody <a@b.c>' },
  {
    name: 'EXPOSE',
    differences: [
      { config: 'ExposedPorts', reason: 'buildah 1.28 keeps a range as one port; docker expands it' },
    ],
    dockerfile: 'FROM base\nENV P="90 91/udp"\nEXPOSE 80 53/udp 70/tcp\nEXPOSE 8000-8002',
  },
  { name: 'EXPOSE of a variable', dockerfile: 'FROM base\nARG P=90\nEXPOSE $P ${P}1/udp' },
  { name: 'USER', dockerfile: 'FROM base\nARG U=worker\nUSER $U:workers\nRUN id > /tmp/id' },
  {
    name: 'VOLUME, both forms',
    differences: [
      {
        paths: /^\/(c\\x20d|e)$/,
        reason: 'buildah makes the directories of some volumes; docker makes them when a container is',
      },
    ],
    dockerfile: 'FROM base\nVOLUME /a /b\nVOLUME ["/c d", "/e"]',
  },
  { name: 'STOPSIGNAL', dockerfile: 'FROM base\nARG S=INT\nSTOPSIGNAL SIG$S' },
  {
    name: 'HEALTHCHECK with options',
    dockerfile:
      'FROM base\nHEALTHCHECK --interval=1m30s --timeout=5s --start-period=2s --retries=3 CMD curl -f http://x || exit 1',
  },
  { name: 'HEALTHCHECK, exec form', dockerfile: 'FROM base\nHEALTHCHECK CMD ["a", "b"]' },
  { name: 'HEALTHCHECK NONE', dockerfile: 'FROM base\nHEALTHCHECK CMD x\nHEALTHCHECK NONE' },
  { name: 'ONBUILD is kept', dockerfile: 'FROM base\nONBUILD RUN echo $X\nONBUILD COPY . /app' },
  { name: 'ARG without a default', dockerfile: 'FROM base\nARG A\nENV B=x${A}y' },
  {
    name: 'ARG by --build-arg',
    dockerfile: 'FROM base\nARG A=1\nENV B=$A\nRUN echo $A > /a',
    args: ['--build-arg', 'A=2'],
  },
  { name: 'ARG is gone in the next stage', dockerfile: 'FROM base AS a\nARG A=1\nFROM base\nENV B=x$A' },
  {
    name: 'ARG before FROM',
    dockerfile: 'ARG BASE=base\nARG V=7\nFROM ${BASE}:latest\nENV A=x$V\nARG V\nENV B=x$V',
  },
  {
    name: 'ENV wins over an ARG from before',
    dockerfile: 'FROM base\nARG A=arg\nENV A=env\nENV B=$A\nRUN echo $A > /a',
  },
  {
    name: 'ARG is not in the environment of the image',
    dockerfile: 'FROM base\nARG A=1\nRUN env | grep ^A= > /a',
  },
  { name: 'keywords in lower case', dockerfile: 'from base as x\nenv A=1\nfrom x\nlabel b=2' },
  {
    name: 'escape=`',
    differences: [
      {
        config: 'Env',
        reason: 'buildah 1.28 takes a backslash for an escape although the directive names another',
      },
    ],
    dockerfile: '# escape=`\nFROM base\nENV A=a`\n  B=c\\d\nRUN echo `\n  x > /x',
  },
  {
    name: 'no newline at the end, and Windows line ends',
    dockerfile: 'FROM base\r\nENV A=1 \\\r\n  B=2\r\nCMD x',
  },
  { name: '--label', dockerfile: 'FROM base\nLABEL a=1', args: ['--label', 'a=2', '--label', 'b=x=y'] },
  {
    name: 'WORKDIR, relative and with variables',
    dockerfile: 'FROM base\nENV D=dir\nWORKDIR /srv\nWORKDIR $D/../e\nRUN pwd > /pwd',
  },
];
