"""The recurrent model mixed with counting, as declared: the weight, the files, the mixed model."""
