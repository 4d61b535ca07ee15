/**
 * 2,000 small files opened, read (up to 4 KiB) and closed again and again, after one pass that is not counted. Stands for
 * interpreters and compilers that open the same headers and modules each time. Does not show the first open.
 */
export const openReadClose = {
  name: 'open-read-close',
  metrics: ['open-read-close-warm'],
  images: ['layers20'],
  measure: (context, subject, image) =>
    context.mounted(subject, image, (directory) => {
      context.load('read-all', directory, image.lists.small);
      const result = context.load('open-read-close', directory, image.lists.small, '60000');
      return [
        {
          metric: 'open-read-close-warm',
          image: image.name,
          unit: 'us',
          value: (result.seconds / result.operations) * 1e6,
          check: `${result.operations} operations, ${result.bytes} bytes`,
        },
      ];
    }),
};
