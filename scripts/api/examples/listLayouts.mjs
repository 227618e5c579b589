import { listLayouts } from 'terge'

for (const { name, says } of listLayouts().filter(({ name }) => name.startsWith('phi3/')))
  console.log(`${name}: ${says}`)
