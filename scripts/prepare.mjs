// What npm runs after `npm ci` in a clone, as `postprepare`: it builds. npm 11 warns about packages with a `prepare` script. The
// published package has this file, but nothing to build and nothing to build it with.
import { existsSync } from 'node:fs'

const build = new URL('build.mjs', import.meta.url)
if (existsSync(build)) await import(build.href)
