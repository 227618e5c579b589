import { readPath } from 'terge'

// The folder of an interpolation that has run; see the example of measuredPaths.
const path = await readPath('out/measuredPaths')
console.log(
  path?.step,
  path?.points.map(({ name, kept }) => `${name} ${kept}`),
)
console.log(Object.keys(path?.barriers ?? {}), Object.keys(path?.drops ?? {}))
