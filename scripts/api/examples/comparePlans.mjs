import { comparePlans } from 'terge'

// Or a revision of git, such as 'main'.
const { bytes, outputs } = await comparePlans('rebasin.yml', 'average.yml')
console.log(bytes)
for (const { path, groups } of outputs)
  for (const { tensors, changes } of groups) console.log(path, tensors, changes.map(({ what }) => what).join(', '))
