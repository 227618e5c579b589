import { readFileSync } from 'node:fs'
import { readPath, readPathOf } from 'terge'

// From one point of an interpolation to all of them; see the example of measuredPaths.
const folder = 'out/measuredPaths'
const file = `${folder}/${(await readPath(folder))?.points[0]?.lineage}`
const path = await readPathOf(JSON.parse(readFileSync(file, 'utf8')), file)
console.log(path?.points.length)
