/** `4dd97cefde62` of a digest or an ID (moby client/pkg/stringid, TruncateID). */
export function shortId(id: string): string {
  return id.replace(/^[^:]*:/, '').slice(0, 12);
}
