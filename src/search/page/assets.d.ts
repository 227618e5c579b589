/** The page's script and style, as `scripts/page.mjs` makes them of `browser/`. */
export const SCRIPT: string
export const STYLE: string
