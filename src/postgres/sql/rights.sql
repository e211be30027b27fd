
-- Whoever is to append is granted these functions by the owner.
REVOKE ALL ON FUNCTION "dcb".append, "dcb".append_one, "dcb".resolve FROM PUBLIC;
