/** The peer of forwarding rows: haproxy in mode tcp on one thread, as plain as it comes. */

/** Its configuration; both as `address:port`. */
export function haproxyText({ listen, backend }: { readonly listen: string; readonly backend: string }): string {
  return `global
  nbthread 1
  maxconn 8000
defaults
  mode tcp
  timeout connect 5s
  timeout client 60s
  timeout server 60s
listen bench
  bind ${listen}
  server nginx ${backend}
`
}
