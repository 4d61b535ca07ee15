/** RUN, and stages. */
import type { BuildCase } from '../case.js';

export const RUN_CASES: readonly BuildCase[] = [
  { name: 'RUN, shell form', dockerfile: 'FROM base\nRUN echo "a  b" > /x && \\\n  echo $HOME >> /x' },
  { name: 'RUN, exec form', dockerfile: 'FROM base\nRUN ["touch", "/a b", "/$HOME"]' },
  {
    name: 'RUN changes, removes and replaces',
    dockerfile:
      'FROM base\nRUN rm -r /opt/data && mkdir /opt/data && echo n > /opt/data/new && rm /opt/file && ln -s x /opt/file && chmod 700 /var && chown 5:6 /etc/group',
  },
  {
    name: 'RUN makes links, FIFOs and modes',
    dockerfile:
      'FROM base\nRUN echo x > /a && ln /a /b && mkfifo -m 600 /p && chmod 4755 /a && mkdir -m 1777 /t',
  },
  {
    name: 'RUN as a user, in a directory',
    dockerfile:
      'FROM base\nUSER worker\nWORKDIR /home/worker\nRUN touch mine; id > ids; pwd >> ids; echo $HOME >> ids',
  },
  { name: 'RUN as numbers', dockerfile: 'FROM base\nUSER 77:88\nRUN id > /tmp/ids' },
  { name: 'RUN that changes nothing', dockerfile: 'FROM base\nRUN true\nRUN echo' },
  {
    name: 'RUN with a bind mount of the context',
    dockerfile: 'FROM base\nRUN --mount=type=bind,source=dir,target=/m cp /m/in /out',
    files: { 'dir/in': 'in' },
  },
  {
    name: 'RUN with a bind mount of a stage',
    dockerfile:
      'FROM base AS one\nRUN echo 1 > /one\nFROM base\nRUN --mount=type=bind,from=one,target=/m cp /m/one /out',
  },
  {
    name: 'RUN with tmpfs',
    dockerfile: 'FROM base\nRUN --mount=type=tmpfs,target=/scratch echo x > /scratch/y && cp /scratch/y /y',
  },
  {
    name: 'RUN with a cache',
    dockerfile:
      'FROM base\nRUN --mount=type=cache,id=c1,target=/c echo x > /c/y\nRUN --mount=type=cache,id=c1,target=/d cp /d/y /y',
  },
  {
    name: 'RUN with a secret',
    differences: [
      { paths: /^\/run\/secrets$/, reason: 'buildah leaves the directory in which the secret was mounted' },
    ],
    dockerfile: 'FROM base\nRUN --mount=type=secret,id=s cp /run/secrets/s /s',
    args: ['--secret', 'id=s,src=SECRET'],
  },
  {
    name: 'RUN with a secret at a place',
    dockerfile: 'FROM base\nRUN --mount=type=secret,id=s,dst=/etc/key cp /etc/key /s',
    args: ['--secret', 'id=s,src=SECRET'],
  },
  {
    name: 'RUN with several mounts and a quoted flag',
    dockerfile:
      'FROM base\nRUN --mount=type=tmpfs,target=/t --mount=type=bind,source=a,target=/a cp /a /t/b && cp /t/b /b',
    files: { a: 'a' },
  },
  {
    name: 'stages by name and number',
    dockerfile:
      'FROM base AS one\nRUN echo 1 > /1\nFROM base\nRUN echo 2 > /2\nFROM base\nCOPY --from=one /1 /\nCOPY --from=1 /2 /',
  },
  {
    name: 'a stage made from a stage',
    dockerfile:
      'FROM base AS one\nENV A=1\nRUN echo $A > /1\nFROM one AS two\nRUN echo $A$A > /2\nFROM two\nLABEL x=$A',
  },
  {
    name: '--target',
    dockerfile: 'FROM base AS one\nLABEL a=1\nFROM base AS two\nRUN false',
    args: ['--target', 'one'],
  },
  {
    name: 'scratch',
    differences: [
      { config: 'WorkingDir', reason: 'BuildKit gives an image from scratch the directory /, buildah none' },
    ],
    dockerfile: 'FROM scratch\nCOPY a /a',
    files: { a: 'a' },
  },
  {
    name: 'scratch with a copy of a stage',
    differences: [
      { config: 'WorkingDir', reason: 'BuildKit gives an image from scratch the directory /, buildah none' },
    ],
    dockerfile:
      'FROM base AS one\nRUN mkdir -p /o/p && echo x > /o/p/q && chown -R 3:4 /o\nFROM scratch\nCOPY --from=one /o /o\nENTRYPOINT ["/o"]',
  },
  {
    name: 'COPY --from an image',
    differences: [
      { config: 'WorkingDir', reason: 'BuildKit gives an image from scratch the directory /, buildah none' },
    ],
    dockerfile: 'FROM scratch\nCOPY --from=base /etc/passwd /opt/data /x/',
  },
  {
    name: 'FROM with a platform',
    dockerfile:
      'FROM --platform=$BUILDPLATFORM base\nARG TARGETARCH\nARG TARGETOS\nRUN echo $TARGETOS $TARGETARCH > /x',
  },
  {
    name: 'triggers are carried out',
    dockerfile:
      'FROM base AS parent\nONBUILD COPY a /trigger/\nONBUILD RUN echo done > /trigger/run\nFROM parent\nRUN cat /trigger/run > /after',
    files: { a: 'a' },
  },
  {
    name: 'WORKDIR makes its directory',
    dockerfile: 'FROM base\nWORKDIR /new/deep\nCOPY a .',
    files: { a: 'a' },
  },
];
