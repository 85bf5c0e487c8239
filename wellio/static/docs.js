"use strict";
SwaggerUIBundle({
  url: "/openapi.json",
  dom_id: "#docs",
  deepLinking: true,
  docExpansion: "none", // a tag at a time: all operations at once take seconds to draw
  filter: true,
  defaultModelsExpandDepth: -1, // hundreds of schemas, each of which stands with the operation that takes it
  persistAuthorization: false,
  validatorUrl: null,
});
