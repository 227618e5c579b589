import { familyOf, listMethods } from 'terge'

for (const method of listMethods())
  if (familyOf(method) === 'spherical')
    console.log(
      method.name,
      method.parameters.map(({ name }) => name),
    )
